int x;
/* HOUSE.md says why. */
