# Sourced, behind servers.sh, by the tests that ask a real DNS server: dnsmasq, which knows what it is told, of all
# other names below .example that they do not exist, and nothing of the rest of the world.
PATH=$PATH:/usr/sbin
have dnsmasq || skip dnsmasq

dnsmasq_at()
{
    exec dnsmasq --keep-in-foreground --conf-file="$dns_config" --port="$port" --pid-file="$dns_config.pid"
}

# start_dns LINE...: one that has these lines in its configuration, on 127.0.0.1:$port; sets $server
start_dns()
{
    dns_config=$(mktemp "$work/dnsmasq.XXXXXX")
    cat >"$dns_config" <<CONF
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
user=$(id -un)
local=/example/
log-facility=-
log-queries
CONF
    printf '%s\n' "$@" >>"$dns_config"
    start_at dnsmasq dnsmasq_at
}

# hosts_of DOMAIN HOST:ADDRESS...: lines for start_dns: these are its MX hosts, in this order of preference
hosts_of()
{
    domain=$1
    preference=0
    shift
    for pair in "$@"; do
        preference=$((preference + 10))
        echo "mx-host=$domain,${pair%:*},$preference"
        echo "host-record=${pair%:*},${pair#*:}"
    done
}
