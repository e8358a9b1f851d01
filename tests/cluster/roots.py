"""The CAs that the tests give to the mesh, each in the shape in which Istio, or its tools, make them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sandbox.issuing import Ca

# As an istiod of 1.8 to 1.28 made it.
ROOT = Ca(key="root", identifier="sha1", starts=timedelta(days=-365), ends=timedelta(days=3285))
EXTENDED = replace(ROOT, starts=timedelta(hours=-1), ends=timedelta(days=3650))
# As an istiod of 1.29 or newer renews it.
RENEWED = replace(EXTENDED, identifier="sha256")
OVERDUE = replace(ROOT, ends=timedelta(days=-1))
EXPIRED = Ca(key="old", starts=timedelta(days=-11), ends=timedelta(days=-1))
PLUGGED_IN = Ca(key="plugged-in", subject="O=Istio,CN=Root CA", identifier="sha1", usage=("key_cert_sign", "crl_sign"))
INTERMEDIATE = Ca(
    key="intermediate",
    subject="O=Istio,CN=Intermediate CA,L=cluster1",
    starts=timedelta(hours=-1),
    ends=timedelta(days=730),
    signed_by=PLUGGED_IN,
)
# A tenth of its life is left: istiod renews it as soon as it looks, and makes an identifier of SHA-256.
DUE = Ca(key="due", identifier="sha1", starts=timedelta(days=-9), ends=timedelta(days=1))
DUE_WITHOUT_IDENTIFIER = replace(DUE, key="due-bare", identifier="none")
