import { globSync } from 'node:fs';

/** Fails with the Debian packages to install where a program is missing; by path, which may hold a `*`. */
export function requirePrograms(packageOf: Record<string, string>): void {
  const missing = Object.keys(packageOf).filter((path) => globSync(path).length === 0);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((path) => packageOf[path]))];
  throw new Error(
    `missing: ${missing.join(', ')}. As .ci/run does: apt-get install --no-install-recommends ${packages.join(' ')}`,
  );
}
