"""Floor 3: stores made of stores: what is up, who serves, and how that is found out.

- ``policy``: what is configured;
- ``machine``: the state of a member and the route, as pure functions;
- ``health``: the tasks that probe;
- ``roster``: what is known about each member, and who serves because of it;
- ``failover``, ``traffic``, ``unit``: members as one backend, and requests on their way;
- ``changes``: another active member, and other backends in members' places;
- ``report``: what is told about all of it.
"""

from __future__ import annotations
