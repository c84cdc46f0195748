/** A spool's segments: files named by the absolute offset of their first byte, `00000000000000000000.seg`. */
import fs from 'node:fs';
import path from 'node:path';
import { decodeFrame } from './frame.mjs';

const NAME = /^(\d{20})\.seg$/;

/** @typedef {{ start: number, size: number }} Segment */

/** @param {string} directory @param {number} start */
export function segmentPath(directory, start) {
  return path.join(directory, `${String(start).padStart(20, '0')}.seg`);
}

/**
 * Where the segments start, in order; nothing where the directory is absent.
 * @param {string} directory
 * @returns {number[]}
 */
export function listStarts(directory) {
  const starts = namesIn(directory).flatMap((name) => NAME.exec(name)?.[1] ?? []);
  return starts.map(Number).sort((a, b) => a - b);
}

/**
 * All segments in order.
 * @param {string} directory
 * @returns {Segment[]}
 */
export function listSegments(directory) {
  return listStarts(directory).flatMap((start) => {
    const stat = fs.statSync(segmentPath(directory, start), { throwIfNoEntry: false });
    return stat ? [{ start, size: stat.size }] : [];
  });
}

/**
 * Position after the last complete record of a segment that nobody writes.
 * @param {string} directory
 * @param {Segment} segment
 */
export function completeEnd(directory, segment) {
  const bytes = fs.readFileSync(segmentPath(directory, segment.start));
  let at = 0;
  for (;;) {
    const frame = decodeFrame(bytes, at);
    if (frame === null || frame === 'torn') return segment.start + at;
    at += frame.length;
  }
}

/** @param {string} directory */
function namesIn(directory) {
  try {
    return fs.readdirSync(directory);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return [];
    throw error;
  }
}
