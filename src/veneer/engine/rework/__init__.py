"""New images out of finished ones: layers merged, put on another base, cleansed of a path; configs changed.

Nothing here changes an image: each verb makes a new one and says what is different about it.  What is to be done is
decided by pure functions over layer indexes and configs (composing, ranges, three_way, hazards, excising, rowtext);
the verbs carry it out on a store.
"""
