/** Archives as the engine takes and gives files: POSIX tar, with an extended header where a name is long. */

const BLOCK_BYTES = 512;
const NAME_BYTES = 100;
const CHECKSUM_AT = 148;
const CHECKSUM_BYTES = 8;
const FILE = '0';
const FOLDER = '5';
const EXTENDED = 'x';

export type TarEntry = {
  /** Relative, with "/" between its parts. */
  name: string;
  /** Null: a folder. */
  content: Uint8Array | string | null;
  mode: number;
  uid?: number;
  gid?: number;
};

export function packTar(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.flatMap(packEntry), Buffer.alloc(2 * BLOCK_BYTES)]);
}

/** The content of the first regular file; null: the archive begins with something else. */
export function firstFileOf(archive: Buffer): Buffer | null {
  let at = 0;
  for (;;) {
    const type = archive.toString('latin1', at + 156, at + 157);
    const size = Number.parseInt(archive.toString('latin1', at + 124, at + 136), 8);
    if (type !== EXTENDED && type !== 'g') {
      const start = at + BLOCK_BYTES;
      return type === FILE || type === '\0' ? archive.subarray(start, start + size) : null;
    }
    at += BLOCK_BYTES + padded(size);
  }
}

function packEntry({ name, content, mode, uid = 0, gid = 0 }: TarEntry): Buffer[] {
  const bytes = Buffer.from(content ?? '');
  const type = content === null ? FOLDER : FILE;
  const fields = { mode, uid, gid };
  if (Buffer.byteLength(name) <= NAME_BYTES) return [header(name, type, bytes.length, fields), padding(bytes)];
  const record = Buffer.from(extendedRecord('path', name));
  const extended = header('long-name', EXTENDED, record.length, { mode: 0o644, uid: 0, gid: 0 });
  return [extended, padding(record), header('long-name', type, bytes.length, fields), padding(bytes)];
}

function header(
  name: string,
  type: string,
  size: number,
  { mode, uid, gid }: { mode: number; uid: number; gid: number },
) {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(name, 0, NAME_BYTES);
  block.write(octal(mode & 0o7777, 7), 100, 'latin1');
  block.write(octal(uid, 7), 108, 'latin1');
  block.write(octal(gid, 7), 116, 'latin1');
  block.write(octal(size, 11), 124, 'latin1');
  block.write(octal(0, 11), 136, 'latin1');
  block.write(type, 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  // Its own field counts as blanks.
  block.fill(0x20, CHECKSUM_AT, CHECKSUM_AT + CHECKSUM_BYTES);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)}\0 `, CHECKSUM_AT, 'latin1');
  return block;
}

/** Its length, which counts itself, then the pair. */
function extendedRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = Buffer.byteLength(rest);
  while (String(length).length + Buffer.byteLength(rest) !== length)
    length = String(length).length + Buffer.byteLength(rest);
  return `${length}${rest}`;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0');
}

function padding(bytes: Buffer): Buffer {
  const block = Buffer.alloc(padded(bytes.length));
  bytes.copy(block);
  return block;
}

function padded(length: number): number {
  return Math.ceil(length / BLOCK_BYTES) * BLOCK_BYTES;
}
