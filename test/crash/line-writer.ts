export type LineWriter = {
  linesPerSecond: number;
  /** All together, as many on each stream. */
  lines: number;
  /** 1: stdout, 2: stderr. */
  streams: readonly number[];
  exitCode: number;
};

/** A compose file of one service, `writer`, that writes "line 1", "line 2" … on each stream, and then ends. */
export function lineWriter(writer: LineWriter): string {
  const command = ['node', '-e', program(writer).replaceAll('$', '$$$$')];
  return JSON.stringify({ services: { writer: { command } } });
}

/** Writes as many lines as are due by the clock, however late its timer is. */
const program = ({ linesPerSecond, lines, streams, exitCode }: LineWriter) => `
const { writeSync } = require('node:fs');
const begun = Date.now();
let written = 0;
const timer = setInterval(() => {
  const due = Math.min(${lines / streams.length}, Math.floor(((Date.now() - begun) / 1000) * ${linesPerSecond / streams.length}));
  let text = '';
  for (; written < due; written++) text += 'line ' + (written + 1) + '\\n';
  for (const stream of [${streams}]) for (let at = 0; at < text.length; ) at += writeSync(stream, text.slice(at));
  if (written === ${lines / streams.length}) { clearInterval(timer); process.exitCode = ${exitCode}; }
}, 10);`;
