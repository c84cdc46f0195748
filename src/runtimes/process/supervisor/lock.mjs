/**
 * One holder at a time, by files alone: `<n>` in the lock's directory names the process that holds generation n. Generation
 * n + 1 is taken by a hard link, which only one process can make, once the holder of n is gone. No file is ever stale.
 */
import fs from 'node:fs';
import path from 'node:path';
import { identify, isAlive } from './process-identity.mjs';

/**
 * Takes the lock for the life of this process, or says that another one has it.
 * @param {string} directory
 * @returns {boolean}
 */
export function takeLock(directory) {
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const draft = path.join(directory, `.${process.pid}`);
  fs.writeFileSync(draft, JSON.stringify(identify(process.pid)));
  try {
    for (;;) {
      const highest = generations(directory).at(-1) ?? 0;
      if (highest > 0 && holderIsAlive(path.join(directory, String(highest)))) return false;
      const mine = highest + 1;
      if (!link(draft, path.join(directory, String(mine)))) continue;
      if (retire(directory, mine)) return true;
    }
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

/**
 * Removes older generations; false when a newer one exists, whose holder then has the lock.
 * @param {string} directory
 * @param {number} mine
 */
function retire(directory, mine) {
  const all = generations(directory);
  const newest = all.at(-1) === mine;
  if (!newest) fs.rmSync(path.join(directory, String(mine)), { force: true });
  else for (const old of all.slice(0, -1)) fs.rmSync(path.join(directory, String(old)), { force: true });
  return newest;
}

/** @param {string} directory */
function generations(directory) {
  const found = fs.readdirSync(directory).filter((name) => /^\d+$/.test(name));
  return found.map(Number).sort((a, b) => a - b);
}

/** @param {string} from @param {string} to */
function link(from, to) {
  try {
    fs.linkSync(from, to);
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EEXIST') return false;
    throw error;
  }
}

/** @param {string} file */
function holderIsAlive(file) {
  try {
    return isAlive(JSON.parse(fs.readFileSync(file, 'utf8')));
  } catch {
    // Retired in between, or emptied by a power cut: either way its holder is no more.
    return false;
  }
}
