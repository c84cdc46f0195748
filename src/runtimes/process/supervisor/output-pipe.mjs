/**
 * A real pipe for a service's output. What Node gives a child is a socket pair, on which opening /dev/stdout fails;
 * many programs (nginx among them) do exactly that.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { MAX_PAYLOAD_BYTES } from './frame.mjs';

/**
 * Opens pipes named only for an instant. The writing ends go to a child as they are and are closed here afterwards.
 * @param {string} directory nobody else's
 * @param {string} name
 * @param {number} count
 * @param {number | null} uid owner, who may open them again through /dev/stdout
 * @returns {{ reader: number, writer: number }[]}
 */
export function openPipes(directory, name, count, uid) {
  const paths = Array.from({ length: count }, (_, index) => path.join(directory, `${name}.${index}`));
  for (const file of paths) fs.rmSync(file, { force: true });
  const made = spawnSync('mkfifo', ['-m', '600', ...paths], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`no pipe could be made: ${made.error?.message ?? made.stderr.trim()}`);
  const pipes = [];
  try {
    for (const file of paths) {
      if (uid !== null) fs.chownSync(file, uid, uid);
      const reader = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
      pipes.push({ reader, writer: -1 });
      Object.assign(/** @type {object} */ (pipes.at(-1)), { writer: fs.openSync(file, 'w') });
    }
    return pipes;
  } catch (error) {
    closePipes(pipes);
    throw error;
  } finally {
    for (const file of paths) fs.rmSync(file, { force: true });
  }
}

/** @param {{ reader: number, writer: number }[]} pipes */
export function closePipes(pipes) {
  for (const { reader, writer } of pipes) {
    fs.closeSync(reader);
    if (writer >= 0) fs.closeSync(writer);
  }
}

/**
 * Hands over what arrives, in pieces of at most 64 KiB that are valid only during the call.
 * @param {number} reader
 * @param {(bytes: Buffer) => void} onBytes
 * @param {() => void} onEnd when the last writer closed its end; once
 * @returns {() => void} stops reading
 */
export function drain(reader, onBytes, onEnd) {
  const buffer = Buffer.allocUnsafeSlow(MAX_PAYLOAD_BYTES);
  const socket = new net.Socket({
    fd: reader,
    readable: true,
    writable: false,
    onread: {
      buffer,
      callback: (length) => {
        onBytes(buffer.subarray(0, length));
        return true;
      },
    },
  });
  // The close that follows an error ends the stream as well.
  socket.on('error', () => {});
  socket.once('close', onEnd);
  return () => socket.destroy();
}
