import { randomBytes } from 'node:crypto';
import { CreateDeploymentDocument, InviteDocument, RegisterDocument } from '../../schema/generated/graphql.ts';
import { type ApiClient, createApiClient, entityOf } from './api-client.ts';
import type { Place } from './deploying.ts';
import { DemoFailure } from './failure.ts';
import { heading, say } from './terminal.ts';

const NAME_BYTES = 4;
const PASSWORD_BYTES = 12;

/** Invites somebody who may only look, and shows that they may not deploy. */
export async function showRefusal(client: ApiClient, url: string, place: Place): Promise<void> {
  heading('Invite a second user, a VIEWER, who tries to deploy');
  const username = `viewer-${randomBytes(NAME_BYTES).toString('hex')}`;
  const email = `${username}@example.com`;
  const { organizationId, stackId, environmentId } = place;
  const { organizationInvite } = await client.request(InviteDocument, {
    input: { organizationId, email, role: 'VIEWER' },
  });
  const { token } = entityOf(organizationInvite, 'inviting');
  await using viewer = createApiClient(url);
  const password = randomBytes(PASSWORD_BYTES).toString('base64url');
  const { authRegister } = await viewer.request(RegisterDocument, {
    input: { username, email, password, invitationToken: token },
  });
  viewer.authorize(entityOf(authRegister, 'registering').accessToken);
  const refusal = await viewer.request(CreateDeploymentDocument, { input: { stackId, environmentId } }).then(
    () => null,
    (error: unknown) => error,
  );
  if (!(refusal instanceof DemoFailure) || !refusal.message.includes('PERMISSION_DENIED'))
    throw new DemoFailure(`${username} was not refused: ${String(refusal)}`);
  say(`${username}: ${refusal.message}`);
}
