import { DerpClient, fromHex, toHex } from './derp-client.js';

const element = (id) => document.getElementById(id);
const show = (text) => {
  const item = document.createElement('li');
  item.textContent = text;
  element('messages').append(item);
};

const relay = new URLSearchParams(location.search).get('relay') ?? `ws://${location.hostname}:3340/derp`;
const client = new DerpClient(relay, {
  onReady: () => {
    element('state').textContent = `connected to ${relay}`;
  },
  onPacket: (source, packet) => show(`${toHex(source).slice(0, 8)}: ${new TextDecoder().decode(packet)}`),
  onGone: (peer) => show(`${toHex(peer).slice(0, 8)} has left`),
  onClose: (reason) => {
    element('state').textContent = `closed${reason && `: ${reason}`}`;
  },
});
element('key').textContent = toHex(client.publicKey);
element('form').addEventListener('submit', (event) => {
  event.preventDefault();
  // The relay carries what it is given; two real clients would seal it for each other first.
  client.send(fromHex(element('peer').value), new TextEncoder().encode(element('text').value));
});
