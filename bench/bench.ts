import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** `npm run bench` runs all of these, one after the other; `npm run bench -- fan-out query` only those. Each is a program of its own. */
const BENCHMARKS = [
  'fan-out',
  'latency',
  'deployments',
  'search',
  'ingest',
  'query',
  'start',
  'containers',
  'container-logs',
  'roll-outs',
  'workflows',
];

const folder = dirname(fileURLToPath(import.meta.url));
const named = process.argv.slice(2);
const unknown = named.filter((name) => !BENCHMARKS.includes(name));
if (unknown.length > 0) {
  console.error(`there is no benchmark ${unknown.join(', ')}: there are ${BENCHMARKS.join(', ')}`);
  process.exit(2);
}

const [lock, installed] = ['package-lock.json', 'node_modules/.package-lock.json'].map(
  (name) => statSync(join(folder, 'peers', name), { throwIfNoEntry: false })?.mtimeMs ?? 0,
);
if (installed! < lock!) {
  // Apart from what the server needs: what we are measured against, with lockfile and licences of its own.
  await run('npm', [
    'ci',
    '--prefix',
    join(folder, 'peers'),
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--silent',
  ]);
}
for (const name of named.length > 0 ? named : BENCHMARKS) {
  console.log(`\n══ ${name}`);
  await run(process.execPath, [join(folder, `${name}.ts`)]);
}

async function run(command: string, args: string[]): Promise<void> {
  const [code] = await once(spawn(command, args, { stdio: 'inherit' }), 'exit');
  if (code !== 0) process.exit(code ?? 1);
}
