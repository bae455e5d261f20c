// Signs with Node alone: node sign.mjs TYP PAYLOAD.json KID KEY.pem [KID KEY.pem].. > document.jws
import { createPrivateKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';

const N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551n;

// Sorted names, no spaces. All text in a document is printable ASCII, which JSON.stringify leaves as it is.
const sorted = (value) =>
  Array.isArray(value) ? value.map(sorted)
  : value && typeof value === 'object'
    ? Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]))
    : value;
const canonical = (value) => JSON.stringify(sorted(value));

function lowS(signature) {
  const s = BigInt('0x' + signature.subarray(32).toString('hex'));
  const low = s > N / 2n ? N - s : s; // of the two signatures that would verify, the one with the low s
  return Buffer.concat([signature.subarray(0, 32), Buffer.from(low.toString(16).padStart(64, '0'), 'hex')]);
}

function member(typ, payload, kid, pem) {
  const header = Buffer.from(canonical({ alg: 'ES256', kid, typ })).toString('base64url');
  const key = createPrivateKey(readFileSync(pem));
  const signature = sign('sha256', Buffer.from(`${header}.${payload}`), { key, dsaEncoding: 'ieee-p1363' });
  return { protected: header, signature: lowS(signature).toString('base64url') };
}

const [typ, source, ...rest] = process.argv.slice(2);
const payload = Buffer.from(canonical(JSON.parse(readFileSync(source, 'utf8')))).toString('base64url');
const keys = [];
for (let n = 0; n < rest.length; n += 2) keys.push([rest[n], rest[n + 1]]);
keys.sort(([a], [b]) => (a < b ? -1 : 1));
const signatures = keys.map(([kid, pem]) => member(typ, payload, kid, pem));
process.stdout.write(canonical({ payload, signatures }));
