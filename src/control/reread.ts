/** Reads files again that operators change while the relay runs. */
import { reasonOf } from '../errors.js';

/**
 * Reads each file again, whatever becomes of the others. Rejects with an Error that names every faulty file, and says what is
 * wrong with it.
 */
export async function rereadEach<File extends { readonly path: string }>(
  files: readonly File[],
  reread: (file: File) => Promise<void>,
): Promise<void> {
  const problems: string[] = [];
  const told = (file: File) => reread(file).catch((error) => void problems.push(`${file.path}: ${reasonOf(error)}`));
  await Promise.all(files.map(told));
  if (problems.length > 0) throw new Error(problems.join('; '));
}
