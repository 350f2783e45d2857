# Sourced by the tests that talk TLS: makes their certificates. Needs $work; $certs is the folder they are in.
have openssl || skip openssl
certs=$work/certs

# certify NAME SUBJECT EXTENSION OPTION...: $certs/NAME.pem and NAME.key
certify()
{
    certified=$certs/$1
    subject=$2
    printf '%s\n' "$3" >"$certified.ext"
    shift 3
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$subject" -keyout "$certified.key" \
        -out "$certified.csr"
    openssl x509 -req -in "$certified.csr" -extfile "$certified.ext" -out "$certified.pem" "$@"
}

# by_ca NAME SUBJECT EXTENSION OPTION...
by_ca()
{
    certify "$@" -CA "$certs/ca.pem" -CAkey "$certs/ca.key" -CAcreateserial
}

# It ended before it began; a newer OpenSSL says that in another way.
expired()
{
    by_ca expired /CN=localhost "$here" -days -1 ||
        by_ca expired /CN=localhost "$here" -not_before 20200101000000Z -not_after 20200201000000Z
}

# ca and another_ca sign; server is for the names that we listen at, other_name for another, expired was for ours,
# self_signed nobody signed; client is for alice, stranger is signed by nobody who is trusted.
make_certificates()
{
    here='subjectAltName=DNS:localhost,IP:127.0.0.1'
    mkdir "$certs"
    {
        certify ca '/CN=The CA of the tests' 'basicConstraints=critical,CA:TRUE' -key "$certs/ca.key" &&
            certify another_ca '/CN=Another CA' 'basicConstraints=critical,CA:TRUE' -key "$certs/another_ca.key" &&
            by_ca server /CN=localhost "$here" &&
            by_ca other_name /CN=other.example subjectAltName=DNS:other.example &&
            expired &&
            certify self_signed /CN=localhost "$here" -key "$certs/self_signed.key" &&
            by_ca client /CN=alice extendedKeyUsage=clientAuth &&
            certify stranger /CN=alice extendedKeyUsage=clientAuth -key "$certs/stranger.key"
    } >"$work/certificates.log" 2>&1 || fail 'openssl made no certificates'
    for each in server other_name expired self_signed; do
        cat "$certs/$each.key" "$certs/$each.pem" >"$certs/$each.chain"
    done
}
