import { createHash } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';

/** An exclusive lock of this machine, free again the moment its process ends, however it ends. */
export type ProcessLock = { release(): Promise<void> };

// BSD and macOS open(2) flags: an exclusive lock taken with the open itself.
const O_EXLOCK = 0x20;

/**
 * Takes the lock on a folder, or returns null when another process of this machine holds it.
 * Linux: a listening socket in the abstract namespace, which the kernel frees with its process; macOS: an open file's lock.
 */
export async function lockFolder(folder: string, purpose: string): Promise<ProcessLock | null> {
  if (process.platform === 'linux') return lockAbstractSocket(folder, purpose);
  await mkdir(folder, { recursive: true });
  try {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK | O_EXLOCK;
    const file = openSync(join(folder, `${purpose}.lock`), flags, 0o600);
    return { release: async () => closeSync(file) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return null;
    throw error;
  }
}

async function lockAbstractSocket(folder: string, purpose: string): Promise<ProcessLock | null> {
  const name = createHash('sha256').update(`${purpose}\0${folder}`).digest('hex').slice(0, 40);
  const server = createServer((socket) => socket.destroy());
  try {
    await listen(server, `\0windflow-${name}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return null;
    throw error;
  }
  server.unref();
  return { release: () => new Promise((resolve) => server.close(() => resolve())) };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
