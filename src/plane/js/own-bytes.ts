/** Bytes that are to wait: a copy in memory of their own, if they would keep a much larger chunk otherwise. */
export function ownBytes(bytes: Buffer): Buffer {
  if (2 * bytes.length > bytes.buffer.byteLength) return bytes;
  const own = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(own);
  return own;
}
