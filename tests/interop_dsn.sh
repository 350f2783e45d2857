#!/bin/sh
# The whole reports that the unit tests hold the library to are read by Python's email package: three parts of the types they
# should have, one block of fields for each recipient, addresses and codes as they were told.
. "$(dirname "$0")/peers/servers.sh"

reports=$(cd "$(dirname "$0")" && pwd)
python_with email || skip python3

# reads REPORT REQUIREMENT...: see peers/report.py
reads()
{
    report=$1
    shift
    sed 's/$/\r/' "$reports/reports/$report.eml" >"$work/$report.eml"
    "$python" "$reports/peers/report.py" "$work/$report.eml" "$@" >"$work/report.log" 2>&1 || fail "the report $report"
    echo "ok: $report"
}

reads failed Action=failed Status=5.1.1 Status=4.4.7 Status=5.1.2 'Original-Envelope-Id=QQ314159' \
    'Reporting-MTA=dns; mx.example.com' 'Original-Recipient=rfc822; old+name@example.net' \
    'Final-Recipient=rfc822; nobody@example.org' 'Final-Recipient=rfc822; "a b"@example.org' \
    'Diagnostic-Code=smtp; 550 5.1.1 No such user here.*directory.example.org.' Will-Retry-Until= \
    returned=message/rfc822 'text=*may have arrived*'
reads delayed Action=delayed Status=4.4.1 Status=4.2.2 'Will-Retry-Until=Fri, 27 Nov 2026 06:00:00 +0000' \
    'Last-Attempt-Date=Sun, 22 Nov 2026 06:01:40 +0000' returned=text/rfc822-headers 'text=*you need not do*'
reads delivered Action=delivered Status=2.0.0 'Arrival-Date=Sun, 22 Nov 2026 11:30:00 +0530' returned=text/rfc822-headers
reads relayed Action=relayed 'Diagnostic-Code=smtp; 250 OK' 'Remote-MTA=dns; mx.example.org' returned=text/rfc822-headers
reads expanded Action=expanded 'Final-Recipient=rfc822; list@example.com' Diagnostic-Code= Remote-MTA=
reads mixed Action=failed Action=relayed 'Received-From-MTA=dns; client.sender.example'
reads utf8 'Final-Recipient=utf-8; bücher@bücher.example' 'Original-Recipient=utf-8; bücherwurm@example.net' \
    'Diagnostic-Code=smtp; 550 5.1.1 Unbekannter Empfänger' returned=message/global-headers 'text=*The server mx.example.org said:*'
