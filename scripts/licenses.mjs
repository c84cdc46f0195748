// Fails when a package of the lockfile has a licence that was not weighed.
import { readFileSync } from 'node:fs';

const ALLOWED = new Set([
  'MIT',
  'MIT-0',
  'ISC',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'BlueOak-1.0.0',
  'Python-2.0',
  'Unlicense',
  'CC0-1.0',
]);
// Weak copyleft or data licences, used unchanged; each is a tool of the tool chain, none is part of the server.
/** @type {Record<string, string | undefined>} */
const WEIGHED = {
  'caniuse-lite': 'CC-BY-4.0',
  elkjs: 'EPL-2.0',
  lightningcss: 'MPL-2.0',
  'seq-queue': undefined, // its LICENSE file says MIT
  buildcheck: undefined, // so do those of these three: ssh2 and what it brings
  'cpu-features': undefined,
  ssh2: undefined,
};

const { packages } = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8'));
/** @param {unknown} licence */
const permits = (licence) =>
  typeof licence === 'string' &&
  licence
    .replace(/[()]/g, '')
    .split(/ OR /)
    .some((choice) => choice.split(/ and | AND /).every((name) => ALLOWED.has(name)));
const refused = [];
for (const [path, { license, link }] of Object.entries(packages)) {
  if (path === '' || link) continue;
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  const family = Object.keys(WEIGHED).find((known) => name === known || name.startsWith(`${known}-`));
  if (permits(license) || (family && WEIGHED[family] === license)) continue;
  refused.push(`${name}: ${license ?? 'no licence named'}`);
}
if (refused.length > 0) {
  console.error(`licences to weigh first (scripts/licenses.mjs):\n${refused.join('\n')}`);
  process.exit(1);
}
