import type { Row } from './table.ts';

const SETEC =
  'setec is a server of secrets that Tailscale runs for itself; the mesh key comes in a file, which systemd, Kubernetes and others write from their own stores';
const ACE =
  'it makes the relay a proxy to the control servers of tailscale.com, which send clients through relays of their own alone';

const MANUAL = 'cli/derper.spec.ts#derper serves TLS with the chain of the certificate directory, only for its name';
const EXTERNAL_ACCOUNT = 'interop/acme-trouble.spec.ts#the relay proves an external account to a CA that requires one';
const ACCEPTS =
  'conformance/limits.spec.ts#an accept limit closes connections beyond it at once, and the relay goes on';

const CONTROLLER =
  'conformance/admission.spec.ts#the relay reads an admission controller’s answers as derper does, failOpen';
const LOCAL = 'interop/differential/admission-cases.ts#a node, and a stranger';

/** In the order of `derper -h`. */
export const FLAGS: readonly Row[] = [
  { name: '-a', test: 'cli/derper.spec.ts#derper serves plain HTTP and STUN' },
  { name: '-accept-connection-burst', test: ACCEPTS },
  { name: '-accept-connection-limit', test: ACCEPTS },
  { name: '-ace', willNotBe: ACE },
  { name: '-acme-eab-key', test: EXTERNAL_ACCOUNT },
  { name: '-acme-eab-kid', test: EXTERNAL_ACCOUNT },
  { name: '-acme-email', test: EXTERNAL_ACCOUNT },
  {
    name: '-acme-ip-certs',
    test: 'interop/acme.spec.ts#an IP certificate serves the address that a client without a server name connects to',
    note: 'by TLS-ALPN-01, too',
  },
  {
    name: '-bootstrap-dns-names',
    test: 'unit/control/bootstrap-dns.spec.ts#the answer is empty until names resolve, and then has those that did',
  },
  { name: '-c', test: 'interop/rollback.spec.ts#the key and the certificate of an IP address stay' },
  { name: '-certdir', test: 'interop/rollback.spec.ts#the key and the certificate of an IP address stay' },
  {
    name: '-certmode',
    test: MANUAL,
    note: '`letsencrypt` and `gcp`: [interop/acme-derper.spec.ts](../__test__/interop/acme-derper.spec.ts)',
  },
  { name: '-derp', test: 'cli/derper.spec.ts#derper serves neither DERP nor STUN if they are off' },
  {
    name: '-dev',
    test: 'cli/derper.spec.ts#derper -dev serves plain HTTP on port 3340, with a key that it does not store',
  },
  {
    name: '-disallow-app-names',
    test: 'interop/differential/frame-cases.ts#an app name that is not allowed',
  },
  { name: '-home', test: 'conformance/http.spec.ts#the relay redirects / if home is a URL' },
  { name: '-hostname', test: MANUAL },
  { name: '-http-port', test: 'conformance/http.spec.ts#plain HTTP redirects to TLS' },
  { name: '-mesh-psk-file', test: 'cli/derper-flags.spec.ts#a missing -mesh-psk-file is refused' },
  { name: '-mesh-with', test: 'cli/mesh.spec.ts#-mesh-with: two relays find each other, and log it' },
  {
    name: '-rate-config',
    test: 'conformance/limits.spec.ts#a receive limit delays its client, loses nothing, and affects no other',
  },
  { name: '-secrets-cache-dir', willNotBe: SETEC },
  { name: '-secrets-path-prefix', willNotBe: SETEC },
  { name: '-secrets-url', willNotBe: SETEC },
  { name: '-socket', test: LOCAL },
  { name: '-stun', test: 'cli/derper.spec.ts#derper serves neither DERP nor STUN if they are off' },
  { name: '-stun-port', test: 'cli/derper.spec.ts#derper serves plain HTTP and STUN' },
  {
    name: '-tcp-keepalive-time',
    test: 'cli/derper-flags.spec.ts#implemented flags are accepted with their defaults',
    note: 'emulated by the JavaScript plane; that the socket has it is not tested',
  },
  {
    name: '-tcp-user-timeout',
    test: 'cli/derper-flags.spec.ts#implemented flags are accepted with their defaults',
    note: 'emulated by the JavaScript plane; that the socket has it is not tested',
  },
  {
    name: '-tcp-write-timeout',
    test: 'conformance/slow-receivers.spec.ts#a client that does not read is closed after the write deadline, its packets accounted for; TLS',
  },
  {
    name: '-unpublished-bootstrap-dns-names',
    test: 'unit/control/bootstrap-dns.spec.ts#an unpublished name is told only to clients that ask and are in its share',
  },
  { name: '-verify-client-url', test: CONTROLLER },
  { name: '-verify-client-url-fail-open', test: CONTROLLER },
  { name: '-verify-clients', test: LOCAL },
  { name: '-version', test: 'cli/derper-flags.spec.ts#-version prints one line, whatever else is given' },
];

export const VARIABLES: readonly Row[] = [
  {
    name: 'TAILSCALE_DERPER_MESH_KEY',
    test: 'cli/derper-flags.spec.ts#the mesh key of -dev is checked, and never shown',
  },
  {
    name: 'TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH',
    test: 'conformance/slow-receivers.spec.ts#a client has queues of the configured depth',
  },
  {
    name: 'TS_ALLOW_DEBUG_IP',
    test: 'unit/http/debug-access.spec.ts#allowIp gives access to one address, as it is written',
  },
  {
    name: 'TS_DEBUG_TRUSTED_CIDRS',
    test: 'unit/http/debug-access.spec.ts#addresses of trusted networks have access, and other addresses do not',
  },
  { name: 'TS_DEBUG_KEY_PATH', test: 'interop/differential/http-cases.ts#from afar, with the key' },
  {
    name: 'TS_DEBUG_VERBOSE_DROPS',
    test: 'cli/derper.spec.ts#TS_DEBUG_VERBOSE_DROPS logs packets dropped on their way to a key, and to no other',
    note: 'packets together, not one by one, as often as derper logs them',
  },
  {
    name: 'TS_DERP_DISABLE_RTT_STATS',
    test: 'conformance/metrics.spec.ts#the metrics count no round trips if the policy disables them',
  },
  {
    name: 'TS_DERP_SENDER_CARDINALITY',
    test: 'interop/senders.spec.ts#derper and derpkit estimate alike how many peers send to a client',
    note: 'exact up to 1,024 peers; above, with a standard error of 1.6 %, where derper has 0.8 % for four times the memory',
  },
  {
    name: 'DERP_DEBUG_LOGS',
    test: 'cli/derper.spec.ts#DERP_DEBUG_LOGS logs what every client does',
    note: 'what a connection does, not its frames, of which nothing crosses to the log',
  },
  {
    name: 'DERP_PROBER_DEBUG_LOGS',
    test: 'cli/derper.spec.ts#DERP_PROBER_DEBUG_LOGS logs what probers do',
    note: 'as `DERP_DEBUG_LOGS`',
  },
];
