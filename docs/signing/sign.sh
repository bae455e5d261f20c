#!/bin/bash
# Signs with openssl alone: sign.sh TYP PAYLOAD.json KID KEY.pem [KID KEY.pem]..  > document.jws
# PAYLOAD.json is in its one spelling already; kids are given in ascending order.
set -euo pipefail
export LC_ALL=C

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
octets() { printf "$(sed 's/../\\x&/g')"; }                      # hex on standard input
half_of_n=7FFFFFFF800000007FFFFFFFFFFFFFFFDE737D56D38BCF4279DCE5617E3192A8

sign() { # KID KEY: one member of signatures
    local protected input r s
    protected=$(printf '{"alg":"ES256","kid":"%s","typ":"%s"}' "$1" "$typ" | base64url)
    input="$protected.$payload"
    while :; do # every signature is another one: until s lies in the lower half
        { read -r r; read -r s; } < <(printf %s "$input" | openssl dgst -sha256 -sign "$2" |
            openssl asn1parse -inform DER | sed -n 's/.*INTEGER *://p')
        r=$(printf '%64s' "$r" | tr ' ' 0)
        s=$(printf '%64s' "$s" | tr ' ' 0)
        [[ "$s" > "$half_of_n" ]] || break
    done
    printf '{"protected":"%s","signature":"%s"}' "$protected" "$(printf %s "$r$s" | octets | base64url)"
}

typ=$1
payload=$(tr -d '\n' < "$2" | base64url)
shift 2
members=$(sign "$1" "$2")
shift 2
while [ $# -gt 0 ]; do
    members="$members,$(sign "$1" "$2")"
    shift 2
done
printf '{"payload":"%s","signatures":[%s]}' "$payload" "$members"
