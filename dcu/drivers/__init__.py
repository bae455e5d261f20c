"""The only code that speaks to meters: links, HDLC, wrapper, security, DLMS, bus worker."""
