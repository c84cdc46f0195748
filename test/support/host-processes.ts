import { readdirSync, readFileSync } from 'node:fs';

/** The values that a variable has in the environments of this machine's processes, one a process. */
export function valuesInProcesses(name: string): string[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .flatMap((pid) =>
      environmentOf(pid).flatMap((line) => (line.startsWith(`${name}=`) ? line.slice(name.length + 1) : [])),
    );
}

function environmentOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    // It ended meanwhile, or is not ours to read.
    return [];
  }
}
