import type { Row } from './table.ts';

const TEST =
  'conformance/failures.spec.ts#the log has one line at level debug for each failure, with address, name and reason';
const OURS =
  'at level debug, at most 50 lines a second, and each is counted; derper logs each line always, and counts none';

export const LOGS: readonly Row[] = [
  { name: 'http: TLS handshake error from', test: TEST, note: `\`a TLS handshake has failed\`, ${OURS}` },
  { name: 'derp: …: receive client key', test: TEST, note: `\`a login has failed\`, ${OURS}` },
  { name: 'a malformed request', test: TEST, note: 'derper says and counts nothing; ours as the others' },
  { name: 'a wrong mesh key', test: TEST, note: 'derper says and counts nothing; ours as the others' },
];
