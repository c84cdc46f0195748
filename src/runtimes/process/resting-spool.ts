import fs from 'node:fs';
import { completeEnd, listSegments, segmentPath } from './supervisor/segments.mjs';

/** Position after the newest record of a spool that no supervisor writes; 0 where there never was one. */
export function spoolEnd(directory: string): number {
  const last = listSegments(directory).at(-1);
  return last ? completeEnd(directory, last) : 0;
}

/** Deletes what lies before a position while no supervisor lives. The newest segment's name keeps the position; where all of it was read, an empty one does. */
export function trimSpool(directory: string, before: number): void {
  const last = listSegments(directory).at(-1);
  if (!last) return;
  if (last.size > 0 && before >= completeEnd(directory, last)) {
    fs.writeFileSync(segmentPath(directory, last.start + last.size), '', { flag: 'a', mode: 0o600 });
  }
  for (const { start, size } of listSegments(directory).slice(0, -1)) {
    if (start + size <= before || start === last.start) fs.rmSync(segmentPath(directory, start), { force: true });
  }
}
