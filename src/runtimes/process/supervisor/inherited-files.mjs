import fs from 'node:fs';

const FDS = '/proc/self/fdinfo';
const FIRST_OWN_FD = 3;
/** O_CLOEXEC as /proc shows it; all files that Node opens have it. */
const CLOSE_ON_EXEC = 0o2000000;

/**
 * Closes what was open in the process that started this one and would go on to services: its sockets, its locks. Linux only.
 */
export function closeInheritedFiles() {
  if (!fs.existsSync(FDS)) return;
  for (const name of fs.readdirSync(FDS)) {
    const fd = Number(name);
    if (fd >= FIRST_OWN_FD && isInherited(fd)) fs.closeSync(fd);
  }
}

/** @param {number} fd */
function isInherited(fd) {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(fs.readFileSync(`${FDS}/${fd}`, 'utf8'))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) === 0;
  } catch {
    // The directory that was being read is no longer open.
    return false;
  }
}
