import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

export type ReceivedMail = {
  from: string;
  to: string[];
  /** As it was sent, headers first. */
  source: string;
  login: { username: string; password: string } | null;
};

/** A mail server in the clear that takes every message, but where it is told to say something else. */
export class SmtpServer {
  readonly mails: ReceivedMail[] = [];
  /** What it says to a command that begins like this: { 'RCPT TO:<nobody': '550 5.1.1 unknown' }. */
  answers: Record<string, string> = {};
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => this.#talk(socket));
  }

  static async start(): Promise<SmtpServer> {
    const server = createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return new SmtpServer(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #talk(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
    let mail: ReceivedMail = newMail();
    let isData = false;
    let text = '';
    socket.write('220 sink ESMTP\r\n');
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      // The first byte of a TLS handshake: nothing that this server speaks.
      if (chunk.startsWith('\x16')) return socket.destroy();
      text += chunk;
      for (;;) {
        const end = isData ? text.indexOf('\r\n.\r\n') : text.indexOf('\r\n');
        if (end === -1) return;
        const line = text.slice(0, end);
        text = text.slice(end + (isData ? 5 : 2));
        if (isData) {
          this.mails.push({ ...mail, source: line.replace(/^\.\./gm, '.') });
          mail = newMail(mail.login);
        }
        const answer = isData ? '250 taken' : this.#answer(line, mail);
        isData = !isData && answer.startsWith('354');
        socket.write(`${answer}\r\n`);
        if (/^QUIT/i.test(line)) socket.end();
      }
    });
  }

  #answer(line: string, mail: ReceivedMail): string {
    const told = Object.entries(this.answers).find(([start]) => line.toUpperCase().startsWith(start.toUpperCase()));
    if (told) return told[1];
    const [, from] = /^MAIL FROM:<(.*?)>/i.exec(line) ?? [];
    const [, to] = /^RCPT TO:<(.*?)>/i.exec(line) ?? [];
    const [, login] = /^AUTH PLAIN (\S+)/i.exec(line) ?? [];
    if (/^EHLO/i.test(line)) return '250-sink\r\n250 AUTH PLAIN';
    if (from !== undefined) mail.from = from;
    if (to !== undefined) mail.to.push(to);
    if (/^DATA/i.test(line)) return '354 go on';
    if (/^STARTTLS/i.test(line)) return '502 not here';
    if (login === undefined) return '250 fine';
    const [, username = '', password = ''] = Buffer.from(login, 'base64').toString('utf8').split('\0');
    mail.login = { username, password };
    return '235 welcome';
  }
}

function newMail(login: ReceivedMail['login'] = null): ReceivedMail {
  return { from: '', to: [], source: '', login };
}
