import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, TLSSocket } from 'node:tls';

export type ReceivedMail = {
  from: string;
  to: string[];
  /** As it was sent, headers first. */
  source: string;
  login: { username: string; password: string } | null;
  /** Whether it came over TLS. */
  isEncrypted: boolean;
};

/** Certificates in test/fixtures/tls: which of them an authority of the tests vouches for, and for what, their first lines say. */
export type Certificate = 'server' | 'elsewhere' | 'expired' | 'stranger';
export type SmtpServerOptions = { security?: 'NONE' | 'STARTTLS' | 'TLS'; certificate?: Certificate };

const pem = (name: string) => readFileSync(new URL(`../fixtures/tls/${name}.pem`, import.meta.url));
const identityOf = (certificate: Certificate) => ({ cert: pem(certificate), key: pem('key') });
/** The first byte of a TLS handshake. */
const HANDSHAKE = 0x16;

/** A mail server that takes every message, in the clear unless it was started otherwise, but where it is told to say something else. */
export class SmtpServer {
  readonly mails: ReceivedMail[] = [];
  /** Every command, as it could be read: in the clear, or by whoever holds the server's key. */
  readonly commands: string[] = [];
  /** What it says to a command that begins like this: { 'RCPT TO:<nobody': '550 5.1.1 unknown' }. */
  answers: Record<string, string> = {};
  readonly #server: Server;
  readonly #options: Required<SmtpServerOptions>;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, options: Required<SmtpServerOptions>) {
    this.#server = server;
    this.#options = options;
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => this.#sockets.delete(socket));
    });
    server.on(options.security === 'TLS' ? 'secureConnection' : 'connection', (socket) => {
      socket.on('error', () => socket.destroy());
      socket.write('220 sink ESMTP\r\n');
      this.#talk(socket);
    });
  }

  static async start({ security = 'NONE', certificate = 'server' }: SmtpServerOptions = {}): Promise<SmtpServer> {
    const server = security === 'TLS' ? createTlsServer(identityOf(certificate)) : createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return new SmtpServer(server, { security, certificate });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** How many clients are connected. */
  get connections(): number {
    return this.#sockets.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #secured(socket: Socket): TLSSocket {
    const secured = new TLSSocket(socket, { isServer: true, ...identityOf(this.#options.certificate) });
    return secured.on('error', () => socket.destroy());
  }

  #talk(socket: Socket): void {
    const isEncrypted = socket instanceof TLSSocket;
    const decoder = new TextDecoder();
    let mail = newMail(isEncrypted);
    let isData = false;
    let text = '';
    const read = (chunk: Buffer) => {
      // Nothing that this server speaks at this point.
      if (chunk[0] === HANDSHAKE) return socket.end();
      text += decoder.decode(chunk, { stream: true });
      for (;;) {
        const end = isData ? text.indexOf('\r\n.\r\n') : text.indexOf('\r\n');
        if (end === -1) return;
        const line = text.slice(0, end);
        text = text.slice(end + (isData ? 5 : 2));
        if (isData) {
          this.mails.push({ ...mail, source: line.replace(/^\.\./gm, '.') });
          mail = newMail(isEncrypted, mail.login);
        } else this.commands.push(line);
        const answer = isData ? '250 taken' : this.#answer(line, mail);
        isData = !isData && answer.startsWith('354');
        socket.write(`${answer}\r\n`);
        if (/^QUIT/i.test(line)) socket.end();
        if (/^STARTTLS/i.test(line) && answer.startsWith('220')) {
          socket.off('data', read);
          return this.#talk(this.#secured(socket));
        }
      }
    };
    socket.on('data', read);
  }

  #answer(line: string, mail: ReceivedMail): string {
    const told = Object.entries(this.answers).find(([start]) => line.toUpperCase().startsWith(start.toUpperCase()));
    if (told) return told[1];
    const [, from] = /^MAIL FROM:<(.*?)>/i.exec(line) ?? [];
    const [, to] = /^RCPT TO:<(.*?)>/i.exec(line) ?? [];
    const [, login] = /^AUTH PLAIN (\S+)/i.exec(line) ?? [];
    const canStart = this.#options.security === 'STARTTLS' && !mail.isEncrypted;
    if (/^EHLO/i.test(line)) return `250-sink\r\n${canStart ? '250-STARTTLS\r\n' : ''}250 AUTH PLAIN`;
    if (/^STARTTLS/i.test(line)) return canStart ? '220 go on' : '502 not here';
    if (from !== undefined) mail.from = from;
    if (to !== undefined) mail.to.push(to);
    if (/^DATA/i.test(line)) return '354 go on';
    if (login === undefined) return '250 fine';
    const [, username = '', password = ''] = Buffer.from(login, 'base64').toString('utf8').split('\0');
    mail.login = { username, password };
    return '235 welcome';
  }
}

function newMail(isEncrypted: boolean, login: ReceivedMail['login'] = null): ReceivedMail {
  return { from: '', to: [], source: '', login, isEncrypted };
}
