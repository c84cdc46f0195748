import { type Logger, pino } from 'pino';

export type { Logger };

/** Structured lines on stderr: stdout is left to what a person reads. Names that may carry secrets are taken out. */
export function createLogger(level: string): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: ['*.password', '*.accessToken', '*.refreshToken', '*.authorization', '*.secret', '*.DATABASE_URL'],
        censor: '***',
      },
    },
    pino.destination({ fd: 2, sync: false }),
  );
}
