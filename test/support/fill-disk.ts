import { appendFileSync } from 'node:fs';

const FILLING = Buffer.alloc(4096);

/** Takes with a file all that is free on its disk, and what becomes free in between. */
export function fillDisk(file: string): void {
  for (;;)
    try {
      appendFileSync(file, FILLING);
    } catch {
      return;
    }
}
