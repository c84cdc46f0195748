import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = new URL('../../', import.meta.url).pathname;
/** What only means something on the machine where it was written. */
const LOCAL = /(?<![\w./])\/(?:work|home|Users)\/\w|registry\.npm\w*\.\w/;
const FOREIGN = new Set(['node_modules', '.git', '.windflow', 'generated']);

it('should name no path of a machine and no host of a registry in its files', () => {
  const entries = globSync('**', { cwd: ROOT, withFileTypes: true, exclude: ({ name }) => FOREIGN.has(name) });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  expect(files).toContain(join(ROOT, 'README.md'));
  const found = files.flatMap((file) => {
    const lines = readFileSync(file, 'utf8').split('\n');
    return lines.flatMap((line, index) => (LOCAL.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : []));
  });
  expect(found).toEqual([]);
});

it('should lock packages by their hashes alone, whatever registry serves them', () => {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { resolved?: string; integrity?: string }>;
  };
  const locked = Object.entries(packages).filter(([path]) => path !== '');
  expect(locked.filter(([, { resolved, integrity }]) => resolved || !integrity).map(([path]) => path)).toEqual([]);
});
