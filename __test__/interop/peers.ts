/** The real peers: built by packaging, because the benchmark needs one of them too. */
export { buildPeers, goAvailable, type Peers } from '../../packaging/peers.mjs';
