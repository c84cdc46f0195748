import { randomBytes } from 'node:crypto';
import { LoginDocument, RegisterDocument } from '../../schema/generated/graphql.ts';
import { type ApiClient, entityOf, isError } from './api-client.ts';
import { DemoFailure } from './failure.ts';

const USERNAME = 'demo';
const PASSWORD_BYTES = 12;

export type Account = { username: string /** Told when the demo chose it. */; newPassword: string | null };

/** Logs in with the given account, or registers the first user of an installation that has none yet. */
export async function openAccount(client: ApiClient, environment: NodeJS.ProcessEnv): Promise<Account> {
  const { WINDFLOW_USERNAME: username, WINDFLOW_PASSWORD: password } = environment;
  if (username && password) {
    const { authLogin } = await client.request(LoginDocument, { input: { username, password } });
    client.authorize(entityOf(authLogin, `logging in as ${username}`).accessToken);
    return { username, newPassword: null };
  }
  const newPassword = randomBytes(PASSWORD_BYTES).toString('base64url');
  const input = { username: USERNAME, email: `${USERNAME}@example.com`, password: newPassword };
  const { authRegister } = await client.request(RegisterDocument, { input });
  if (authRegister && isError(authRegister)) {
    throw new DemoFailure(
      `no account for the demo: ${authRegister.message}\nGive it one with WINDFLOW_USERNAME and WINDFLOW_PASSWORD ` +
        '(the installation’s first user may use the runtime PROCESS), or stop that server: the demo then starts one of its own.',
    );
  }
  client.authorize(entityOf(authRegister, 'registering').accessToken);
  return { username: USERNAME, newPassword };
}
