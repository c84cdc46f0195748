/** A tab that GraphiQL opens with. */
export type StarterTab = { query: string; headers?: string };

const TOKEN_HEADER = '{ "Authorization": "Bearer paste-the-accessToken" }';

/** The way from nothing to live log lines. Values stand in the text itself: one place to edit, beside the headers. */
export const STARTER_TABS: readonly StarterTab[] = [
  {
    query: `# 1. Register. The first user becomes this installation's superadmin.
#    Copy the accessToken into the headers of the next tabs; it is good for 15 minutes.
#    When you come back: authLogin(input: {username: "ada", password: "…"}) instead.
mutation Register {
  authRegister(
    input: {username: "ada", email: "ada@example.com", password: "choose a long one"}
  ) {
    ... on AuthSession {
      accessToken
      refreshToken
      user { id username }
    }
    ... on Error { code message }
    ... on ValidationError { fields { path message } }
  }
}`,
  },
  {
    query: `# 2. Make an organization, and copy its id.
mutation CreateOrganization {
  organizationCreate(input: {name: "My organization"}) {
    ... on Organization { id slug }
    ... on Error { code message }
  }
}`,
    headers: TOKEN_HEADER,
  },
  {
    query: `# 3. Make an environment: a place to deploy to. Services run as processes of this machine.
mutation CreateEnvironment {
  environmentCreate(
    input: {organizationId: "paste-the-organization's-id", name: "Development"}
  ) {
    ... on Environment { id slug runtime }
    ... on Error { code message }
  }
}`,
    headers: TOKEN_HEADER,
  },
  {
    query: `# 4. Store a stack: a compose file.
mutation CreateStack {
  stackCreate(
    input: {
      organizationId: "paste-the-organization's-id"
      name: "Hello"
      compose: """
      services:
        hello:
          command: ["node", "-e", "let n = 0; setInterval(() => console.log('hello', ++n), 1000)"]
      """
    }
  ) {
    ... on Stack { id slug currentVersion { number services { name } } }
    ... on Error { code message }
    ... on ValidationError { findings { severity message line column } }
  }
}`,
    headers: TOKEN_HEADER,
  },
  {
    query: `# 5. Deploy it.
mutation Deploy {
  deploymentCreate(
    input: {stackId: "paste-the-stack's-id", environmentId: "paste-the-environment's-id"}
  ) {
    ... on Deployment { id number status }
    ... on Error { code message }
  }
}`,
    headers: TOKEN_HEADER,
  },
  {
    query: `# 6. Watch every line, live.
subscription Logs {
  deploymentLogs(deploymentId: "paste-the-deployment's-id") {
    live
    lines { sequence timestamp service stream message }
  }
}`,
    headers: TOKEN_HEADER,
  },
];
