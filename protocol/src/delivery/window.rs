//! Window: what is in flight, by its packet identifier.
//!
//! A table in which every identifier has one place. Identifiers follow each other, and so do
//! their places; no two in flight share one. Its size is in proportion to what is in flight.

use crate::packet::PacketId;

/// What is in flight of one session in one direction.
#[derive(Debug)]
pub(super) struct Window<T> {
    /// As many as a power of two, or none.
    places: Vec<Option<(PacketId, T)>>,
    len: usize,
}

/// How many places the first identifier makes.
const PLACES_MIN: usize = 8;
/// With so many, every identifier has a place of its own.
const PLACES_MAX: usize = 1 << 16;
/// How many places an emptied window keeps.
const SPARE_PLACES: usize = 64;

impl<T> Window<T> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(super) fn get(&self, id: PacketId) -> Option<&T> {
        let (known, item) = self.places.get(self.place(id))?.as_ref()?;
        (*known == id).then_some(item)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: PacketId) -> Option<&mut T> {
        let place = self.place(id);
        let (known, item) = self.places.get_mut(place)?.as_mut()?;
        (*known == id).then_some(item)
    }

    /// Whether the place of `id` is taken, by itself or by another one: better not to use it now.
    /// Not more than half of the places are, up to half of all identifiers.
    #[inline]
    pub(super) fn is_taken(&self, id: PacketId) -> bool {
        matches!(self.places.get(self.place(id)), Some(Some(_)))
    }

    /// Takes in an identifier that is not in here.
    #[inline]
    pub(super) fn insert(&mut self, id: PacketId, item: T) -> Option<&T> {
        while self.places.len() < PLACES_MAX
            && (self.places.len() < 2 * (self.len + 1) || self.is_taken(id))
        {
            self.grow();
        }
        let place = self.place(id);
        let place = self.places.get_mut(place)?;
        self.len += usize::from(place.is_none());
        Some(&place.insert((id, item)).1)
    }

    #[inline]
    pub(super) fn remove(&mut self, id: PacketId) -> Option<T> {
        self.get(id)?;
        let place = self.place(id);
        let (_, item) = self.places.get_mut(place)?.take()?;
        self.len -= 1;
        if self.len == 0 && self.places.len() > SPARE_PLACES {
            // What one burst needed is not kept for ever.
            self.places = Vec::new();
        }
        Some(item)
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PacketId, &T)> {
        let taken = self.places.iter().flatten();
        taken.map(|(id, item)| (*id, item))
    }

    /// All of them, in no order.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().flatten().map(|(_, item)| item)
    }

    /// Takes all out, in no order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.len = 0;
        let taken = std::mem::take(&mut self.places).into_iter().flatten();
        taken.map(|(_, item)| item)
    }

    /// Twice as many places: whoever shared none before shares none now.
    #[cold]
    fn grow(&mut self) {
        let count = (2 * self.places.len()).clamp(PLACES_MIN, PLACES_MAX);
        let mut places = Vec::new();
        places.resize_with(count, || None);
        let old = std::mem::replace(&mut self.places, places);
        for (id, item) in old.into_iter().flatten() {
            let place = self.place(id);
            if let Some(place) = self.places.get_mut(place) {
                *place = Some((id, item));
            }
        }
    }

    #[inline]
    fn place(&self, id: PacketId) -> usize {
        usize::from(id.get()) & self.places.len().wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn id(id: u16) -> PacketId {
        PacketId::new(id).unwrap()
    }

    #[test]
    fn it_holds_what_a_map_would_hold() {
        let mut window = Window::new();
        let mut model = HashMap::new();
        let mut random = 7_u64;
        for step in 0..20_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005) + 1;
            let key = id(u16::try_from(random >> 33 & 0x3FF).unwrap() + 1);
            if random & 1 << 60 == 0 && !model.contains_key(&key) {
                window.insert(key, step);
                model.insert(key, step);
            } else {
                assert_eq!(window.remove(key), model.remove(&key));
            }
            assert_eq!(window.get(key), model.get(&key));
            assert_eq!(window.len(), model.len());
        }
        let mut all: Vec<_> = window.iter().map(|(key, item)| (key, *item)).collect();
        let mut expected: Vec<_> = model.into_iter().collect();
        all.sort_unstable();
        expected.sort_unstable();
        assert_eq!(all, expected);
    }

    #[test]
    fn its_size_follows_what_is_in_flight() {
        let mut window = Window::new();
        for number in 1..=1000 {
            window.insert(id(number), ());
        }
        assert_eq!(window.places.len(), 2048);
        for number in 1..=1000 {
            window.remove(id(number));
        }
        assert!(window.is_empty() && window.places.len() <= SPARE_PLACES);
    }

    #[test]
    fn all_identifiers_fit_and_those_of_one_place_too() {
        let mut window = Window::new();
        for number in [1, 1 + 8, 1 + 16, 1 + (1 << 15)] {
            window.insert(id(number), number);
        }
        for number in (2..=u16::MAX).rev() {
            if window.get(id(number)).is_none() {
                window.insert(id(number), number);
            }
        }
        assert_eq!(window.len(), usize::from(u16::MAX));
        assert!((1..=u16::MAX).all(|number| window.get(id(number)) == Some(&number)));
    }
}
