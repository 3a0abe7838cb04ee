/** `node packaging/changelog.mjs VERSION`: prints the section of CHANGELOG.md about a version, for its release. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail, root } from './ensure.mjs';

const [version = ''] = process.argv.slice(2);
const sections = readFileSync(join(root, 'CHANGELOG.md'), 'utf8').split(/^## /m).slice(1);
const section = sections.find((text) => text.split(/\s/, 1)[0] === version);
if (section === undefined) fail(`CHANGELOG.md has no section "## ${version}"`);
const [heading] = section.split('\n', 1);
if (/unreleased/i.test(heading)) fail(`CHANGELOG.md calls ${version} unreleased; its heading needs a date`);
process.stdout.write(`${section.slice(heading.length).trim()}\n`);
