-- A module that takes registrations, too.

module:hook("iq-set/self/urn:xmpp:push:0:enable", function () end, -1);
