const UNTRUSTED = 'of no authority that WindFlow trusts: start WindFlow with that authority in NODE_EXTRA_CA_CERTS';
/** By Node's codes: https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const CERTIFICATE_FAULTS: Record<string, string> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  CERT_HAS_EXPIRED: 'out of date: it has to be renewed there',
  CERT_NOT_YET_VALID: 'not valid yet: see whether the clocks of both machines are right',
};

/** What Node's errors of TLS may carry. */
export type TlsFailure = {
  /** Of OpenSSL, in words. */
  reason?: string;
  cert?: { subjectaltname?: string };
};

/** Why no TLS came about, in words that say what to do, from an error and Node's code of it; null: it is something else. */
export function tlsFaultOf(code: string | undefined, { reason, cert }: TlsFailure): string | null {
  const fault = CERTIFICATE_FAULTS[code ?? ''];
  if (fault) return `its certificate is ${fault}`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const names = cert?.subjectaltname?.replace(/\b(DNS|IP Address):/g, '') || 'no host at all';
    return `its certificate is for another host: give the one that it is for, ${names}`;
  }
  if (code === 'EPROTO') return 'no TLS came about: mostly what listens there speaks in the clear';
  if (code?.startsWith('ERR_SSL_')) return `no TLS came about: ${reason ?? code}`;
  return null;
}
