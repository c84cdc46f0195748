// Makes a clone ready to run: packages from the lockfile, the Prisma client, the typed operations. Runs before `npm start`,
// `npm test` and the others, on whatever Node the machine has (20 or newer), and does nothing when nothing changed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE_MAJOR = 24;
const LOCK_STALE_MS = 15 * 60_000;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** @param {...string} parts */
const at = (...parts) => join(root, ...parts);

/** @param {string[]} paths */
function fingerprint(paths) {
  const hash = createHash('sha256');
  for (const path of paths) hash.update(`${path}\0`).update(readFileSync(at(path)));
  return hash.digest('hex');
}

/** @param {string} folder @param {string} ending */
function filesIn(folder, ending) {
  if (!existsSync(at(folder))) return [];
  const names = readdirSync(at(folder)).filter((name) => name.endsWith(ending));
  return names.sort().map((name) => `${folder}/${name}`);
}

/** @param {string} stamp @param {string} value */
function isCurrent(stamp, value) {
  return existsSync(at(stamp)) && readFileSync(at(stamp), 'utf8') === value;
}

/** @param {string} what @param {string} command @param {string[]} args @param {Record<string, string>} environment */
function run(what, command, args, environment = {}) {
  console.error(`windflow: ${what} …`);
  // Output goes to stderr: stdout belongs to the program that starts next.
  const result = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    // As npm sets it: generators are found by their names.
    env: { ...process.env, PATH: `${at('node_modules/.bin')}${delimiter}${process.env.PATH ?? ''}`, ...environment },
  });
  if (result.status !== 0) {
    console.error(
      `windflow: ${what} failed${result.error ? `: ${result.error.message}` : ''}. The lines above say why.`,
    );
    process.exit(1);
  }
}

/** Whether somebody has installed what the lockfile says by themselves. What npm writes last tells it. */
function areInstalled() {
  const written = 'node_modules/.package-lock.json';
  if (!existsSync(at(written))) return false;
  const [wanted, present] = ['package-lock.json', written].map(
    (path) => JSON.parse(readFileSync(at(path), 'utf8')).packages,
  );
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === '' || optional || present[path]?.version === version,
  );
}

function installPackages() {
  const value = fingerprint(['package-lock.json']);
  if (isCurrent('node_modules/.windflow-setup', value) || areInstalled()) return;
  const npm = process.env.npm_execpath;
  const [command, first] = npm?.endsWith('js') ? [process.execPath, [npm]] : [npm ?? 'npm', []];
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  run('installing packages (once, about half a minute)', command, [...first, 'ci', '--ignore-scripts', ...quiet]);
  writeFileSync(at('node_modules/.windflow-setup'), value);
}

function nodeBinary() {
  const bundled = at('node_modules/.bin/node');
  if (existsSync(bundled)) return bundled;
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR) return process.execPath;
  console.error(
    `windflow: there is no Node ${NODE_MAJOR} package for ${process.platform}-${process.arch}: install Node ${NODE_MAJOR}, then run this again.`,
  );
  process.exit(1);
}

/** @param {string} node */
function generateClient(node) {
  const value = fingerprint(['prisma/schema.prisma', 'package-lock.json']);
  if (isCurrent('src/db/generated/.stamp', value)) return;
  rmSync(at('src/db/generated'), { recursive: true, force: true });
  // `generate` needs no schema engine, but looks for one, and would download it: any executable file satisfies it.
  const environment = { PRISMA_SCHEMA_ENGINE_BINARY: node, PRISMA_HIDE_UPDATE_MESSAGE: '1', CHECKPOINT_DISABLE: '1' };
  run('generating the database client', node, [at('node_modules/prisma/build/index.js'), 'generate'], environment);
  writeFileSync(at('src/db/generated/.stamp'), value);
}

/** @param {string} node */
function generateOperations(node) {
  const sources = ['schema/schema.graphql', 'codegen.ts', ...filesIn('schema/operations', '.graphql')];
  if (!sources.every((source) => existsSync(at(source)))) return;
  const value = fingerprint(sources);
  if (isCurrent('schema/generated/.stamp', value)) return;
  run('typing the operations', node, [at('node_modules/@graphql-codegen/cli/esm/bin.js'), '--config', 'codegen.ts']);
  writeFileSync(at('schema/generated/.stamp'), value);
}

/** Two commands at once on a fresh clone: the second waits for the first. @param {() => void} work */
function withLock(work) {
  const lock = at('.setup-lock');
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (;;) {
    try {
      mkdirSync(lock);
      break;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
      const made = statSync(lock, { throwIfNoEntry: false })?.mtimeMs;
      if (made && Date.now() - made > LOCK_STALE_MS) rmSync(lock, { recursive: true, force: true });
      Atomics.wait(pause, 0, 0, 100);
    }
  }
  const release = () => rmSync(lock, { recursive: true, force: true });
  process.on('exit', release);
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
  work();
}

withLock(() => {
  installPackages();
  const node = nodeBinary();
  generateClient(node);
  generateOperations(node);
});
