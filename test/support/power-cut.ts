import { readdirSync, readFileSync } from 'node:fs';
import { supervisorsOf } from './app.ts';
import { signalAll } from './signal.ts';

/** Ends all at once what a runtime has running on this host, as a power cut would: supervisors and their services. */
export async function powerCut(runtimeDirectory: string): Promise<void> {
  for (const supervisor of await supervisorsOf(runtimeDirectory)) {
    const services = childrenOf(supervisor);
    // The parent first: it must not see how they end.
    signalAll([supervisor, ...services.map((leader) => -leader)], 'SIGKILL');
  }
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && parentOf(pid) === parent);
}

function parentOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return null;
  }
}
