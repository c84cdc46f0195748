import { SECOND_MS } from '../../shared/clock.ts';
import { type GuardedHttp, HttpRequestError } from '../../shared/guarded-http.ts';
import { type TlsFailure, tlsFaultOf } from '../../shared/tls-fault.ts';
import type { EmailConfiguration } from './configuration.ts';
import { cut, subjectOf, type Told } from './messages.ts';
import { SendError } from './send-error.ts';

/** Of a whole conversation with a mail server. */
export const SMTP_TIMEOUT_MS = 30 * SECOND_MS;
const MAX_ERROR_LENGTH = 300;
const SECURITY = {
  TLS: { secure: true },
  STARTTLS: { requireTLS: true },
  NONE: { ignoreTLS: true },
};

/** Hands it to the channel's mail server. Answers with whom that refused, where it took it for others. @throws {SendError} */
export async function sendEmail(
  http: GuardedHttp,
  { to, from, host, port, security, login }: EmailConfiguration,
  told: Told,
  signal: AbortSignal,
): Promise<string | null> {
  // With the first e-mail, not with the server: it takes 20 MB.
  const { createTransport } = await import('nodemailer');
  const timeout = AbortSignal.timeout(SMTP_TIMEOUT_MS);
  const end = AbortSignal.any([signal, timeout]);
  const transport = createTransport({
    ...{ host, port, ...SECURITY[security] },
    ...(login && { auth: { user: login.username, pass: login.password } }),
    getSocket: (_options, callback) => {
      http.connect(host, port, end).then(
        (connection) => callback(null, { connection }),
        (error: Error) => callback(error),
      );
    },
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  try {
    const { rejected } = await transport.sendMail({
      from,
      to,
      subject: subjectOf(told),
      text: told.message,
      // The same at each attempt: mail servers may know it again.
      messageId: `<${told.id}@windflow>`,
      headers: { 'Auto-Submitted': 'auto-generated' },
    });
    return rejected.length === 0 ? null : `the mail server refused ${rejected.join(', ')}`;
  } catch (error) {
    if (timeout.aborted) throw new SendError(`no answer within ${SMTP_TIMEOUT_MS / SECOND_MS} s`, true);
    throw failureOf(error as SmtpFailure);
  }
}

/** Node's error in nodemailer's clothes. `originalCode`: Node's own, where it had one. */
type SmtpFailure = Error & TlsFailure & { code?: string; originalCode?: string; permanent?: boolean };

function failureOf(error: SmtpFailure): Error {
  if (error instanceof HttpRequestError) return error;
  const isTransient = error.permanent !== true;
  // Not in the server's words: some repeat what they were told.
  if (error.code === 'EAUTH') return new SendError('the mail server refused the username or password', isTransient);
  const text = tlsFaultOf(error.originalCode, error) ?? error.message;
  return new SendError(cut(text.replace(/\p{Cc}+/gu, ' ').toWellFormed(), MAX_ERROR_LENGTH), isTransient);
}
