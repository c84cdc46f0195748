import { readFile, readlink } from 'node:fs/promises';
import type { Duplex } from 'node:stream';

/** The kernel has sent something so often without an answer: nobody has been there for more than twelve seconds. */
export const UNANSWERED_SENDS = 6;
/** Places of the columns of proc_net_tcp(5): of data and of probes of a full window that were sent again, and the socket's inode. */
const [RETRANSMITS, PROBES, INODE] = [6, 8, 9];

/**
 * Ends those of the connections whose peers do not even acknowledge what waits for them: the machine or the way to it is gone, where a
 * slow reader's machine still answers. None where the platform does not tell, or for what is no TCP socket.
 */
export async function cutOffUnreachable(connections: readonly Duplex[]): Promise<void> {
  if (connections.length === 0) return;
  const unanswered = await unansweredInodes();
  if (unanswered.size === 0) return;
  const inodes = await Promise.all(connections.map(inodeOf));
  for (const [index, connection] of connections.entries())
    if (unanswered.has(inodes[index] ?? '')) connection.destroy();
}

async function unansweredInodes(): Promise<Set<string>> {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8').catch(() => '')),
  );
  const inodes = new Set<string>();
  for (const line of tables.flatMap((table) => table.split('\n').slice(1))) {
    const columns = line.trim().split(/\s+/);
    const sends = Number.parseInt(columns[RETRANSMITS] ?? '', 16) + Number.parseInt(columns[PROBES] ?? '', 10);
    if (sends >= UNANSWERED_SENDS) inodes.add(columns[INODE]!);
  }
  return inodes;
}

async function inodeOf(connection: Duplex): Promise<string | undefined> {
  const fd = (connection as { _handle?: { fd?: number } })._handle?.fd;
  if (fd === undefined || fd < 0) return undefined;
  const target = await readlink(`/proc/self/fd/${fd}`).catch(() => '');
  return /^socket:\[(\d+)\]$/.exec(target)?.[1];
}
