//! A scripted afternoon: endpoints crash, hang, slow down, answer 500, come back, flap, and leave the list.
