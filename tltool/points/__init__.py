"""Points in maps: peaks, suppression, matching, tuning, intervals. Arrays in, arrays out."""
