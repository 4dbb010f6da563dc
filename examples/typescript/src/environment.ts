// What the sidecar tells an agent about itself.

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

export const target = variable("SIDECAR_GRPC");
export const agentId = variable("AGENT_ID");
export const agentType = variable("AGENT_TYPE");
export const issueId = variable("ISSUE_ID");

/** The agent's token, which can be exchanged in its last five minutes. */
export class Token {
  value = variable("JWT_TOKEN");

  get expiresSoon(): boolean {
    const [, payload = ""] = this.value.split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as { exp: number };
    return claims.exp - Date.now() / 1000 < 240;
  }
}
