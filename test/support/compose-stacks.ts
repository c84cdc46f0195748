/** A service that runs a shell script; `rest`: more of its keys, each on a line of four spaces. */
export const service = (name: string, script: string, ...rest: string[]): string =>
  [
    `\n  ${name}:`,
    `    command: ["sh", "-c", "${script}"]`,
    '    stop_grace_period: 1s',
    ...rest.map((key) => `    ${key}`),
  ].join('\n');

/** A service that writes its word four times a second: each time is a new process. */
export const ticking = (name: string, word: string, ...rest: string[]): string =>
  service(name, `trap 'exit 0' TERM; while :; do echo ${word}; sleep 0.25 & wait; done`, ...rest);

/** A service is healthy while its file `ok` is there; `startPeriod` later a failing check counts. */
export const whenOk = (startPeriod = '30s'): string =>
  `healthcheck: { test: ["CMD", "test", "-e", "ok"], interval: 500ms, start_interval: 100ms, start_period: ${startPeriod}, retries: 2 }`;

export const dependsOn = (name: string, condition: string): string =>
  `depends_on: { ${name}: { condition: ${condition} } }`;

export const stack = (...services: string[]): string => `services:${services.join('')}\nvolumes: { data: {} }\n`;
