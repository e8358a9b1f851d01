"""What must be so before a root is replaced: each a check, judged on the plan."""

from istio_root.transition.preflight import ca, mesh, root

PREFLIGHT = (
    ca.ca_managed,
    ca.secret_writable,
    ca.secret_unkept,
    ca.restart_safe,
    root.root_signs,
    root.root_proven,
    root.lifetime_gains,
    mesh.copies_known,
    mesh.webhooks_known,
    mesh.change_finished,
    mesh.root_loads,
    mesh.control_plane_ready,
    root.renewal_far,
    mesh.proxies_unharmed,
    mesh.proxies_in_time,
    mesh.rights_held,
    mesh.proxies_reload,
    mesh.clusters_alone,
)
_MAKES_ONE = frozenset({root.root_signs, root.root_proven, root.lifetime_gains, root.renewal_far})
RESTORE_PREFLIGHT = (
    *(one for one in PREFLIGHT if one not in _MAKES_ONE),
    root.previous_kept,
    root.previous_lasts,
    root.previous_is_last,
)
