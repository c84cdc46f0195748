import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AssembledLine, LineAssembler, type ResumePoint } from './line-assembly.ts';
import { MAX_LINE_BYTES } from './log-line.ts';
import { createMasker, type Masker } from './masking.ts';

const plain = createMasker([]);
const bytesOf = (text: string) => Buffer.from(text);
const texts = (lines: AssembledLine[]) => lines.map((line) => line.message);

/** Framing between the chunks: positions are not offsets. */
const FRAME_BYTES = 7;
type Chunk = { position: number; bytes: Uint8Array };

function chunksOf(bytes: Uint8Array, cuts: number[]): Chunk[] {
  const ends = [...new Set(cuts.map((at) => at % (bytes.length + 1)))].sort((a, b) => a - b);
  let [start, position] = [0, 0];
  return [...ends, bytes.length].map((end) => {
    const chunk = { position: position + FRAME_BYTES, bytes: bytes.subarray(start, end) };
    position = chunk.position + chunk.bytes.length;
    start = end;
    return chunk;
  });
}

function assemble(masker: Masker, chunks: Chunk[], from?: ResumePoint): AssembledLine[] {
  const assembler = new LineAssembler(masker.stream(from?.masked));
  const lines: AssembledLine[] = [];
  for (const { position, bytes } of chunks) {
    const skipped = Math.max(0, (from?.position ?? 0) - position);
    lines.push(...assembler.push(bytes.subarray(skipped), position + skipped, 0));
  }
  return [...lines, ...assembler.finish()];
}

describe('LineAssembler', () => {
  it('should emit a line as soon as its end is there', () => {
    const assembler = new LineAssembler(plain.stream());
    expect(texts(assembler.push(bytesOf('one\ntw'), 0, 1))).toEqual(['one']);
    expect(assembler.push(bytesOf('o\r\n\nthree'), 6, 2)).toEqual([
      { message: 'two', isPartial: false, time: 1 },
      { message: '', isPartial: false, time: 2 },
    ]);
    expect(assembler.resume).toEqual({ position: 10, masked: 0 });
    expect(texts(assembler.finish())).toEqual(['three']);
    expect(assembler.resume).toBeNull();
  });

  it('should flush a partial line without splitting characters, line ends or secrets', () => {
    const assembler = new LineAssembler(createMasker(['hunter2!']).stream());
    assembler.push(Buffer.concat([bytesOf('prompt: hunt')]), 100, 5);
    expect(assembler.flushPartial()).toEqual([{ message: 'prompt: ', isPartial: true, time: 5 }]);
    expect(assembler.hasPartial).toBe(false);
    expect(assembler.resume).toEqual({ position: 108, masked: 0 });
    assembler.push(bytesOf('er2!é').subarray(0, 5), 112, 6);
    expect(texts(assembler.flushPartial())).toEqual(['***']);
    assembler.push(bytesOf('é\r').subarray(1), 117, 7);
    expect(texts(assembler.flushPartial())).toEqual(['é']);
    expect(assembler.push(bytesOf('\n'), 119, 8)).toEqual([{ message: '', isPartial: false, time: 7 }]);
  });

  it('should cut longer lines at 16 KiB, between characters, and say that they go on', () => {
    const line = `${'a'.repeat(MAX_LINE_BYTES - 1)}é${'b'.repeat(10)}`;
    expect(assemble(plain, chunksOf(bytesOf(`${line}\n`), []))).toEqual([
      { message: 'a'.repeat(MAX_LINE_BYTES - 1), isPartial: true, time: 0 },
      { message: `é${'b'.repeat(10)}`, isPartial: false, time: 0 },
    ]);
  });

  it('should not cut a line of exactly 16 KiB, whatever ends it', () => {
    const line = 'a'.repeat(MAX_LINE_BYTES);
    for (const end of ['\n', '\r\n', '']) {
      expect(texts(assemble(plain, chunksOf(bytesOf(line + end), [MAX_LINE_BYTES])))).toEqual([line]);
    }
  });

  it('should emit an endless line piece by piece and hold little of it', () => {
    const assembler = new LineAssembler(plain.stream());
    let emitted = 0;
    for (let index = 0; index < 64; index++) {
      for (const line of assembler.push(Buffer.alloc(16_384, 120), index * 16_384, 0)) {
        expect(line.isPartial).toBe(true);
        emitted += line.message.length;
      }
    }
    expect(64 * 16_384 - emitted).toBeLessThanOrEqual(MAX_LINE_BYTES + 1);
  });

  it('should store NUL and invalid bytes as U+FFFD and still keep to 16 KiB', () => {
    const lines = assemble(plain, chunksOf(Buffer.concat([Buffer.alloc(MAX_LINE_BYTES, 0xff), bytesOf('\0\n')]), []));
    expect(texts(lines).join('')).toBe('\ufffd'.repeat(MAX_LINE_BYTES + 1));
    for (const line of lines) expect(Buffer.byteLength(line.message)).toBeLessThanOrEqual(MAX_LINE_BYTES);
    expect(lines.at(-1)!.isPartial).toBe(false);
    expect(lines.slice(0, -1).every((line) => line.isPartial)).toBe(true);
  });

  it('should know after a crash inside a masked stretch that its rest is masked too', () => {
    const masker = createMasker(['s'.repeat(3 * MAX_LINE_BYTES)]);
    const chunks = chunksOf(bytesOf(`${'s'.repeat(3 * MAX_LINE_BYTES)}x\n`), []);
    const assembler = new LineAssembler(masker.stream());
    const lines = assembler.push(chunks[0]!.bytes.subarray(0, -1), chunks[0]!.position, 0);
    expect(texts(lines)).toEqual(['***', '***', '***']);
    expect(texts([...lines, ...assemble(masker, chunks, assembler.resume!)])).toEqual(['***', '***', '***', 'x']);
  });

  it('should give up what it holds back as masked', () => {
    const assembler = new LineAssembler(createMasker(['hunter2!']).stream());
    assembler.push(bytesOf('a hunt'), 0, 0);
    expect(texts(assembler.release())).toEqual(['a ***']);
    expect(assembler.resume).toBeNull();
    expect(texts(assembler.push(bytesOf('er2! b\n'), 6, 0))).toEqual(['*** b']);
  });

  const secrets = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'é', '\n'), minLength: 2, maxLength: 5 }), {
    maxLength: 3,
  });
  const input = fc
    .uint8Array({ maxLength: 60 })
    .map((bytes) => bytes.map((byte) => [97, 98, 10, 13, 0xc3, 0xa9, 255, 0][byte % 8]!));

  it('should make the same lines whatever the chunks', () => {
    fc.assert(
      fc.property(secrets, input, fc.array(fc.nat(), { maxLength: 6 }), (values, bytes, cuts) => {
        const masker = createMasker(values);
        const whole = assemble(masker, chunksOf(bytes, []));
        expect(assemble(masker, chunksOf(bytes, cuts))).toEqual(whole);
        if (values.length === 0) {
          const text = Buffer.from(bytes).toString().replaceAll('\0', '\ufffd');
          const expected = text
            .split('\n')
            .map((line, index, all) =>
              line.endsWith('\r') && (index < all.length - 1 || line !== '') ? line.slice(0, -1) : line,
            );
          if (expected.at(-1) === '' && !text.endsWith('\r')) expected.pop();
          expect(texts(whole)).toEqual(expected);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('should go on after a crash at any chunk as if nothing had happened', () => {
    fc.assert(
      fc.property(
        secrets,
        input,
        fc.array(fc.nat(), { minLength: 1, maxLength: 6 }),
        fc.nat(),
        (values, bytes, cuts, nat) => {
          const masker = createMasker(values);
          const chunks = chunksOf(bytes, cuts);
          const crash = nat % chunks.length;
          const assembler = new LineAssembler(masker.stream());
          const before = chunks.slice(0, crash).flatMap((chunk) => assembler.push(chunk.bytes, chunk.position, 0));
          const resume = assembler.resume ?? { position: chunks[crash]!.position, masked: 0 };
          expect([...before, ...assemble(masker, chunks, resume)]).toEqual(assemble(masker, chunks));
        },
      ),
      { numRuns: 500 },
    );
  });
});
