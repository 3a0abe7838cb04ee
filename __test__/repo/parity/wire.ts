import type { Row } from './table.ts';

const HTTP = 'interop/differential/http-cases.ts#';
const FRAMES = 'interop/differential/frame-cases.ts#';

export const ENDPOINTS: readonly Row[] = [
  { name: '/derp: DERP upgrade', test: 'interop/differential/upgrade-cases.ts#fast start' },
  { name: '/derp: WebSocket', test: 'interop/differential/upgrade-cases.ts#websocket, one of two protocols' },
  { name: '/derp/probe', test: `${HTTP}/derp/probe` },
  { name: '/derp/latency-check', test: `${HTTP}/derp/latency-check` },
  { name: '/generate_204', test: `${HTTP}/generate_204` },
  { name: '/bootstrap-dns', test: `${HTTP}/bootstrap-dns` },
  { name: '/robots.txt', test: `${HTTP}/robots.txt` },
  { name: '/, and every other path', test: `${HTTP}/index.html` },
  { name: 'targets that are not clean', test: `${HTTP}/a/../derp` },
  { name: 'port 80', test: `${HTTP}port80` },
  {
    name: 'port 80: /.well-known/acme-challenge/',
    test: 'interop/acme-derper.spec.ts#both relays answer HTTP challenges alike',
    note: 'manual mode passes it on, as derper’s does; a port in the Host header is passed over',
  },
  { name: 'CONNECT', test: `${HTTP}CONNECT derp.test:443`, note: 'refused, as by derper without `-ace`' },
  { name: '/debug/', test: `${HTTP}/debug/nowhere`, note: 'what the page says is our own' },
  { name: '/debug/check', test: `${HTTP}/debug/check` },
  { name: '/debug/vars', test: `${HTTP}/debug/vars` },
  { name: '/debug/varz', test: 'interop/parity.spec.ts#the metrics are those of /debug/varz, with their types' },
  {
    name: '/debug/traffic',
    test: 'interop/clients.spec.ts#derper and derpkit show one list, page by page, whatever the question, and stream the clients whose bytes grow',
    note: 'bytes of packets, where derper has those of TCP',
  },
  {
    name: '/debug/clients/',
    test: 'interop/clients.spec.ts#derper and derpkit show one list, page by page, whatever the question, and stream the clients whose bytes grow',
    note: '`/debug/clients.json` has every figure',
  },
  { name: '/debug/gc', never: true },
  {
    name: '/debug/pprof/',
    test: 'interop/go-pprof.spec.ts#go tool pprof records a profile of the relay and shows where the time goes',
    note: '`profile` of the JavaScript thread, and `heapsnapshot` with the debug key; the other profiles are Go’s own',
  },
  { name: '/debug/set-mutex-profile-fraction', never: true },
  { name: 'STUN', test: 'conformance/stun.spec.ts#the test makes requests that equal known ones' },
];

export const FRAME_TYPES: readonly Row[] = [
  { name: '0x01 ServerKey', test: `${FRAMES}as usual` },
  { name: '0x02 ClientInfo', test: `${FRAMES}a ClientInfo that is too short` },
  { name: '0x03 ServerInfo', test: `${FRAMES}as usual` },
  { name: '0x04 SendPacket', test: `${FRAMES}packet without a whole key` },
  { name: '0x05 RecvPacket', test: `${FRAMES}to itself` },
  {
    name: '0x06 KeepAlive',
    test: 'conformance/keepalive.spec.ts#keepalives arrive one interval and part of the jitter after the last',
  },
  { name: '0x07 NotePreferred', test: `${FRAMES}NotePreferred` },
  { name: '0x08 PeerGone', test: `${FRAMES}a peer that goes, having sent` },
  { name: '0x09 PeerPresent', test: `${FRAMES}what a watcher sees` },
  { name: '0x0a ForwardPacket', test: `${FRAMES}ForwardPacket to nobody` },
  { name: '0x10 WatchConns', test: `${FRAMES}what a watcher sees` },
  { name: '0x11 ClosePeer', test: `${FRAMES}a mesh peer that closes a client, and forwards to another` },
  { name: '0x12 Ping', test: `${FRAMES}ping` },
  { name: '0x13 Pong', test: `${FRAMES}ping` },
  { name: '0x14 Health', test: `${FRAMES}as long as may be`, note: 'derper never sends it, and neither do we' },
  { name: '0x15 Restarting', test: `${FRAMES}as long as may be`, note: 'derper never sends it, and neither do we' },
  { name: 'any other', test: `${FRAMES}as long as may be` },
];
