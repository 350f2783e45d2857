"""Reads a delivery status notification (RFC 3464): report.py FILE REQUIREMENT...

FIELD=PATTERN: a field of the delivery status, of the message or of one of the recipients, is such. FIELD=: there is none.
returned=TYPE: what the third part is. text=PATTERN: among the words for people. Without requirements it must be a
report, nothing more."""
import dataclasses
import email
import email.message
import email.policy
import fnmatch
import pathlib
import sys

from relay_process import demand


@dataclasses.dataclass
class Report:
    fields: dict  # of the message as a whole
    recipients: list  # the fields of each
    text: str  # for people
    returned: email.message.Message
    content: bytes


def read(content):
    # The form of RFC 6533 has the same fields, but the email module does not know it.
    kind = "global-delivery-status" if b"message/global-delivery-status" in content else "delivery-status"
    readable = content.decode("utf-8", "replace").replace("message/" + kind, "message/delivery-status")
    parsed = email.message_from_string(readable, policy=email.policy.default)
    demand(parsed.get_content_type() == "multipart/report", f"its type is {parsed.get_content_type()}")
    demand(parsed.get_param("report-type") == kind, f"its report-type is {parsed.get_param('report-type')}")
    demand(str(parsed["Auto-Submitted"]).startswith("auto-"), "it is not Auto-Submitted")
    for field in ("From", "To", "Date", "Message-ID", "Subject", "MIME-Version"):
        demand(len(parsed.get_all(field, [])) == 1, f"{field}: {parsed.get_all(field)}")
    demand(all(len(line) <= 998 for line in content.split(b"\r\n")), "an over-long line")
    demand(content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r"), "a bare CR or LF")
    parts = list(parsed.iter_parts())
    demand(len(parts) == 3, f"it has {len(parts)} parts")
    for part in (parsed, *parts):
        demand(not part.defects, f"defects: {part.defects}")
    text, status, returned = parts
    demand(text.get_content_type() == "text/plain", f"the first part is {text.get_content_type()}")
    demand(status.get_content_type() == "message/delivery-status", f"the second part is {status.get_content_type()}")
    fields, *recipients = [block for block in map(dict, map(email.message.Message.items, status.get_payload())) if block]
    demand("Reporting-MTA" in fields, "no Reporting-MTA")
    for block in recipients:
        for field in ("Final-Recipient", "Action", "Status"):
            demand(field in block, f"a recipient without {field}: {block}")
    demand(recipients, "no recipients")
    return Report(fields, recipients, text.get_content(), returned, content)


def meets(report, requirement):
    name, _, pattern = requirement.partition("=")
    if name == "returned":
        values = [report.returned.get_content_type()]
    elif name == "text":
        values = [report.text]
    else:
        values = [value for block in (report.fields, *report.recipients) for field, value in block.items()
                  if field.lower() == name.lower()]
    return any(fnmatch.fnmatchcase(value, pattern) for value in values) if pattern else not values


def main(path, *requirements):
    report = read(pathlib.Path(path).read_bytes())
    failed = [requirement for requirement in requirements if not meets(report, requirement)]
    if failed:
        print(f"not so: {failed}\n{report}")
    return len(failed) != 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
