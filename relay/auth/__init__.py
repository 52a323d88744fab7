"""The authentication of mail: SPF, DKIM, ARC and DMARC, as rules over an injected resolver."""
